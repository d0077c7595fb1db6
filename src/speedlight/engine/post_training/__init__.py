"""The post-training loop: rollout, reward, training step and weight sync as one iteration."""
