"""Components, against Pulumi's mocks, and processes under a real supervisor."""
