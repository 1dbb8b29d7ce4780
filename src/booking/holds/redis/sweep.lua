-- ARGV: time. Lets go what is over; answers ids and holds.

return is_loaded and expire() or {}
