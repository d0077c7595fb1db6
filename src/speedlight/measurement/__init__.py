"""What machines did: traces that were recorded, and measurements taken here. Knows no cost model."""
