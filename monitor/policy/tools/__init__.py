"""The reviewer's tools: lint, mutation, explanations, a first rule, the schema for editors.

They look at rules; ``monitor.policy`` itself, which evaluates them, needs none of these but ``lint`` in its public names.
"""
