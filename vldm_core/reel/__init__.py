"""A whole film at bounded memory: chunk plan and streamed restoration."""
