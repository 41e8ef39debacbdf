"""The agent: gathers what runs here and sends it, inside a budget. No web framework, no Pulumi."""
