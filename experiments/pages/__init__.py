"""Pages: reports in HTML and their curves.

Read `page`, then `curves`; `templates/` holds what a page looks like.
"""
