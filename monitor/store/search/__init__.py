"""Full text search over the record, the same for both databases: ``finding.TextSearch``, over what ``index`` keeps."""
