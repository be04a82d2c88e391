"""Online fine-tuning: a trained policy acts and learns from its own episodes and from offline data.

Read `config`, `finetune`, `explore` (episodes), `replay` (mixed batches) and `curve` (success over time).
"""
