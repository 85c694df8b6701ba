"""Texts in parts of messages of kinds that nobody here knows: providers invent new ones faster than they are told of."""

from __future__ import annotations

from typing import Any

_MEDIA = frozenset({"image", "image_url", "input_image", "audio", "input_audio", "video", "video_url", "input_video"})
_ABOUT = frozenset({"type", "id", "index", "mime_type", "media_type", "source_type", "cache_control"})
_DATA = frozenset({"url", "base64", "data", "file_data", "file_id", "filename", "signature", "encrypted_content"})


def texts_in(part: Any) -> list[str]:
    """Every text in a part (a document, a result of a search, an annotation), in its order; of pictures and sounds none."""
    if isinstance(part, str):
        return [part] if part else []
    if isinstance(part, list):
        return [text for inner in part for text in texts_in(inner)]
    if not isinstance(part, dict) or part.get("type") in _MEDIA:
        return []
    is_text = part.get("type") == "text" or str(part.get("media_type") or part.get("mime_type")).startswith("text/")
    left_out = _ABOUT | (_DATA - {"data"} if is_text else _DATA)
    return [text for name, inner in part.items() if name not in left_out for text in texts_in(inner)]
