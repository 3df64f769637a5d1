"""The paper's networks: torchvision's for images of 32×32 pixels, and those that torchvision does not have."""
