"""Changes how many instances apps of Marathon have, by what is measured of them.

`decide` decides and does nothing else, `driver` looks and acts, `show` tells what was decided and
why (`docs/autoscaler.md`), `settings` is one app's rule. Where an app is scaled here, its resource
leaves `instances` alone (`is_scaled_elsewhere`).
"""
