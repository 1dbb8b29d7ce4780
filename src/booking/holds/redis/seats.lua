-- ARGV: time. Answers the version and STATUS.

if not is_loaded then return false end
expire()
return { text(version), call('GET', STATUS) }
