"""What the writer does with an episode: `checks` of its numbers, pictures of its `cameras`."""
