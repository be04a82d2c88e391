"""Success classifier: rewards for data with images but without signals.

Read `config`, `fit`, `network`, `frames` (labels) and `verdicts` (precision and recall).
"""
