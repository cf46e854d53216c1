#!lua flags=allow-oom
-- Signs the roll and returns who has lately: name, epoch, how many ms ago, and so on. KEYS[1]: the roll, a hash from
-- names to `epoch time`. ARGV: name, epoch. By the server's clock, which is the same for all.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], 60000)

local signed, found = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #signed, 2 do
    local epoch, at = string.match(signed[i + 1], '(%d+) (%d+)')
    local age = now - tonumber(at)
    if age <= 10000 then
        found[#found + 1], found[#found + 2], found[#found + 3] = signed[i], epoch, age
    else
        redis.call('HDEL', KEYS[1], signed[i])
    end
end
return found
