"""Maps of what moves a model's answer, and what is measured of them: computed beside the network, sandboxed or not."""
