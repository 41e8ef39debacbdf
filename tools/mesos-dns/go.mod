module mesos-platform/tools/mesos-dns

go 1.26.0

require (
	github.com/dgrijalva/jwt-go v2.7.0+incompatible // indirect
	github.com/emicklei/go-restful v2.16.0+incompatible // indirect
	github.com/gogo/protobuf v1.3.2 // indirect
	github.com/golang/glog v1.2.5 // indirect
	github.com/kylelemons/godebug v1.1.0 // indirect
	github.com/mesos/mesos-go v0.0.2 // indirect
	github.com/mesosphere/mesos-dns v0.6.0 // indirect
	github.com/miekg/dns v1.0.15 // indirect
	github.com/samuel/go-zookeeper v0.0.0-20201211165307-7117e9ea2414 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	github.com/tv42/zbase32 v0.0.0-20150911225513-03389da7e0bf // indirect
	golang.org/x/net v0.0.0-20201021035429-f5854403a974 // indirect
)
