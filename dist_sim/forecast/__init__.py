"""What a run will take, derived from what would be built."""
