"""Hooks into other libraries: each is imported only where it is asked for, and needs its library.

    from headstream.capture.hooks.torch import checkpoints, module_facts

`import headstream.capture` imports none of them. A hook whose library is missing raises an
ImportError that says what to install, and that only when the hook itself is imported. After
that nothing of a hook is ever raised into the script: what fails is counted in
`capture.losses()`, what cannot be read is counted in `capture.warnings()`.
"""
