"""What the published modules stand on: pure functions and state, torch only."""
