"""What only maintains the repository."""
