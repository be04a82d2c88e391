"""Success classifier: rewards for data that have images and no signals.

Read `config`, `fit`, `network`, `frames` (what it learns from) and `verdicts` (how good it is).
"""
