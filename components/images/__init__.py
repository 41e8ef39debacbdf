"""What our images are made of: a Dockerfile, which `tools.images` builds."""
