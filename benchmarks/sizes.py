"""What the contenders in training have in common: the paper's networks and batch on CIFAR-10's images."""

SHAPE, DIM, BATCH = (3, 32, 32), 64, 100
EPOCHS = 2  # the first warms up; the last is timed
