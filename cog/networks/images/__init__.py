"""Images: what networks do with a camera's pictures before anything else.

Read `convolutions` (images to features) and `augment` (random shifts).
"""
