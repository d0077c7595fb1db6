"""Published inference speeds: llama.cpp on single devices, and offline throughput of servers (studies/2026-11-serving.md)."""
