"""U-Net segmentation that people can trust."""
