#!lua flags=allow-oom
-- Charges one attempt to every counter, or to none. KEYS: counters. ARGV[1]: now; then limit, window, longest wait for
-- each key; ms. Returns 0, or how long to wait. A counter is three big-endian int64: count, started_at, blocked_until.
-- It counts within the window from its first attempt; once at its limit, it is forgotten only after a window without a
-- block.
local now = tonumber(ARGV[1])
local counters, wait = {}, 0

for i = 1, #KEYS do
    local window = tonumber(ARGV[3 * i])
    local count, started, blocked = 0, now, 0
    local value = redis.call('GET', KEYS[i])
    if value then count, started, blocked = struct.unpack('>i8i8i8', value) end
    if now >= math.max(started, blocked) + window then count, started, blocked = 0, now, 0 end
    wait = math.max(wait, blocked - now)
    counters[i] = {count = count, started = started, blocked = blocked}
end
if wait > 0 then return wait end

for i = 1, #KEYS do
    local limit, window, longest = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
    local counter = counters[i]
    counter.count = counter.count + 1
    if counter.count >= limit then
        counter.blocked = now + math.min(1000 * 2 ^ math.min(counter.count - limit, 40), longest)
    end
    local forget_at = math.max(counter.started, counter.blocked) + window
    local value = struct.pack('>i8i8i8', counter.count, counter.started, counter.blocked)
    redis.call('SET', KEYS[i], value, 'PX', math.max(1, forget_at - now))
end
return 0
