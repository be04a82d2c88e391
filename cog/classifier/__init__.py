"""Success classifier: rewards for data with images but without signals.

Read `config`, `fit`, `network`, `sight` (its inputs), `frames` (labels) and `verdicts` (precision, recall).
"""
