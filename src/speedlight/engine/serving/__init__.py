"""What the serving simulator needs of the engine: step times, memory as engines divide it, deployments."""
