#!lua flags=allow-oom
-- Writes a tombstone over every one of KEYS, known or not, for ARGV[1] ms. Also on a full server: an end may not wait.
for i = 1, #KEYS do redis.call('SET', KEYS[i], '-', 'PX', ARGV[1]) end
return #KEYS
