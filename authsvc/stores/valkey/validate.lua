#!lua flags=allow-oom
-- Looks sessions up and slides their idle deadlines. KEYS: sessions. ARGV[1]: now, in ms.
-- One reply per key, in a list: nil unknown, 0 ended, the stored value if live, {value} if live and SQL is due to hear of it.
-- A value is four big-endian int64 (idle_expires_at, idle_ms, expires_at, flushed_at) and the body; a tombstone is
-- shorter. The caller's clock decides; the TTL only collects garbage. Without `no-writes`, a replica refuses this
-- script, so that a demoted primary is never believed.
local now = tonumber(ARGV[1])

local function look(key)
    local value = redis.call('GET', key)
    if not value then return false end
    if #value < 32 then return 0 end
    local deadline, idle, absolute, flushed = struct.unpack('>i8i8i8i8', value)
    if now >= deadline then return 0 end

    local slid = math.max(deadline, math.min(now + idle, absolute))
    local flush_due = now - flushed >= idle / 4
    if not flush_due and slid - deadline <= math.min(60000, idle / 20) then return value end

    if flush_due then flushed = now end
    value = struct.pack('>i8i8i8i8', slid, idle, absolute, flushed) .. string.sub(value, 33)
    redis.call('SET', key, value, 'XX', 'PX', math.max(1, slid - now))
    if flush_due then return {value} end
    return value
end

local replies = {}
for i = 1, #KEYS do replies[i] = look(KEYS[i]) end
return replies
