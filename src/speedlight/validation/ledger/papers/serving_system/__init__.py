"""Serving systems: batching, queues, pools, sharing, and the machines they run on."""
