"""What the chain costs, as ratios against a baseline in the same run."""
