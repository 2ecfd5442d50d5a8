"""Training as graphs: losses, optimizers and the step, and the loop around it with data, schedules and checkpoints."""
