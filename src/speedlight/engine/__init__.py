"""Scenario → Prediction.

predict.py    one question, or as many as its arrays hold
questions/    what is asked → a checked scenario, graph, machine, stack
steps/        one call priced: kernels summed over its phase, intervals, memory, power
programs/     several programs, one after the other, with what they hand on
training/     steps laid over many devices, whole runs
offload/      what lies outside the device
serving/      step times and memory for the serving simulator, deployments
measured/     predictions beside what ran
answers/      what an answer says
"""
