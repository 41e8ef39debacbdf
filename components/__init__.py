"""What a cluster consists of, as Pulumi components: one noun a module.

A component has arguments, a `ComponentResource` and outputs. It says what a workload is and leaves
to a host target (components.targets) how it is run. It knows nothing of phases and stacks.
"""
