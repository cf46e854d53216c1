#!lua flags=allow-oom
-- Settles a login that succeeded. KEYS: counters. ARGV: for each key its limit, and 1 if it is forgotten whole, 0 if
-- only this attempt is taken back. A counter below its limit blocks nobody. Counters are those of hit.lua.
for i = 1, #KEYS do
    local limit, forgotten = tonumber(ARGV[2 * i - 1]), ARGV[2 * i] == '1'
    local value = not forgotten and redis.call('GET', KEYS[i])
    if forgotten then
        redis.call('DEL', KEYS[i])
    elseif value then
        local count, started, blocked = struct.unpack('>i8i8i8', value)
        count = math.max(0, count - 1)
        if count < limit then blocked = 0 end
        redis.call('SET', KEYS[i], struct.pack('>i8i8i8', count, started, blocked), 'KEEPTTL')
    end
end
return 0
