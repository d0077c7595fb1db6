"""module_times_mlp."""
