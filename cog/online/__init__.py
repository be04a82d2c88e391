"""Online fine-tuning: a trained policy acts, and learns from what it did and from offline data.

Read `config`, `finetune`, `explore` (episodes), `replay` (batches of both) and `curve` (what it reached).
"""
