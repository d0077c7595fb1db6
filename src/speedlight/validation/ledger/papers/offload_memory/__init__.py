"""Papers on memory beyond the device: offloading, tiers, execution orders that need less of it."""
