"""images: CNN image classification."""
