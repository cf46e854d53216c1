#!lua flags=allow-oom
-- Settles a login that succeeded. KEYS: counters. ARGV: for each key its limit, and what is taken back from it: 1 all,
-- 2 as much as was in those, 0 this attempt. Returns how much was in those, at least 1. A counter below its limit blocks
-- nobody. Counters are those of hit.lua.
local mistakes = 1

for i = 1, #KEYS do
    if ARGV[2 * i] == '1' then
        local value = redis.call('GET', KEYS[i])
        if value then mistakes = math.max(mistakes, (struct.unpack('>i8', value))) end
        redis.call('DEL', KEYS[i])
    end
end

for i = 1, #KEYS do
    local value = ARGV[2 * i] ~= '1' and redis.call('GET', KEYS[i])
    if value then
        local count, started, blocked = struct.unpack('>i8i8i8', value)
        count = math.max(0, count - (ARGV[2 * i] == '2' and mistakes or 1))
        if count < tonumber(ARGV[2 * i - 1]) then blocked = 0 end
        redis.call('SET', KEYS[i], struct.pack('>i8i8i8', count, started, blocked), 'KEEPTTL')
    end
end
return mistakes
