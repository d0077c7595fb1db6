"""Serving: requests meet an engine that steps. Batching, KV blocks, queues and routers over step times asked of a protocol."""
