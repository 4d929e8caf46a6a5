"""The measurements behind what the course says, and the page that shows them, docs/evidence.md."""
