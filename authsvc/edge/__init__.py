"""The edge: Envoy's configuration as this package writes it. Leaves running Envoy to `authsvc.commands.edge`.

`asked` what a deployment asks for · `bootstrap` the whole configuration · `listener` the port, its limits and filters ·
`routes` which path goes where, and as whom · `clusters` what stands behind · `replies` what Envoy itself answers ·
`descriptors` the contract, for JSON · `yaml` how it is written down.
"""
