"""The grid: the same question in three rows and five columns, with several steps between A, B and C.

    E > v . C      trajectory 2: from E to B, then to C, which gives reward 1
    > > B > ^
    A ^ > > end    trajectory 1: from A to B, right and up or up and right, then to a dead end

No trajectory leads from A to C. A step that would leave the grid stays where it is.
"""

import numpy as np

from cog.tabular.problem import Problem, Steps

ROWS, COLUMNS = 3, 5
UP, RIGHT, DOWN, LEFT = range(4)
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


def cell(row: int, column: int) -> int:
    """Number of the state in a row, the first on top, and a column."""
    return row * COLUMNS + column


A, B, C, E, DEAD_END = cell(2, 0), cell(1, 2), cell(0, 4), cell(0, 0), cell(2, 4)
ROUTES = ((RIGHT, UP, RIGHT), (UP, RIGHT, RIGHT))
"""The two ways from A to B that trajectory 1 takes in turn."""
TO_DEAD_END = (DOWN, RIGHT, RIGHT)
FROM_E = (RIGHT, RIGHT, DOWN)
TO_C = (RIGHT, RIGHT, UP)


def grid() -> Problem:
    """The grid as a problem; entering C gives reward 1."""
    cells = [(row, column) for row in range(ROWS) for column in range(COLUMNS)]
    following = np.array(
        [
            [
                cell(min(max(row + down, 0), ROWS - 1), min(max(column + right, 0), COLUMNS - 1))
                for down, right in MOVES
            ]
            for row, column in cells
        ]
    )
    names = {A: "A", B: "B", C: "C", E: "E", DEAD_END: "end"}
    return Problem(
        name="grid",
        next_states=following,
        rewards=np.where(following == C, 1.0, 0.0),
        ends=(C, DEAD_END),
        start=A,
        goal=C,
        labels=tuple(names.get(cell(*place), "") for place in cells),
        places=tuple((column, ROWS - 1 - row) for row, column in cells),
    )


def data(first: int, second: int) -> Steps:
    """`first` copies of trajectory 1, by its two routes in turn, and `second` of trajectory 2."""
    problem = grid()
    rows = []
    for number in range(first):
        rows += problem.trajectory(A, (*ROUTES[number % len(ROUTES)], *TO_DEAD_END))
    return problem.steps(rows + second * problem.trajectory(E, (*FROM_E, *TO_C)))
