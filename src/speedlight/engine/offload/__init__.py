"""What is kept outside the device, in inference and in training: what crosses, what shows of it, where it lies."""
