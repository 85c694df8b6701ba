"""The OpenAI SDK: ``wrap(client)`` gives a client of the same type whose model calls go through the door.

``wrapping`` has the client, ``sending`` one HTTP request through the door, ``chat`` and ``responses`` the two formats:
a request as the record has it, an answer as an observation, and an answer in which a text was replaced. They read the
plain JSON on the wire, so that the SDK makes its own objects of what is released.
"""
