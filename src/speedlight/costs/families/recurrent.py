"""gated_delta_net, kimi_delta_attention, mamba2."""
