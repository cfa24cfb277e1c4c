"""The loss that decides which samples matter."""
