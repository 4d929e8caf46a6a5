"""The page that shows what was recorded, docs/evidence.md: its tables, figures and sentences, from assets/results."""
